"""x"""


def run(context):
    pass
