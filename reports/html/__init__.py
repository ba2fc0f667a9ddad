"""The report page: templates, style and script, put together into one offline file."""
