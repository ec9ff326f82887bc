"""Entry of all writes: decodes, validates, holds tenants to their rates, hands on to ingesters."""
