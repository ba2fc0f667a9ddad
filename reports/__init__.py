"""From records to statistics, tables, figures and the report page. Never imports torch."""
