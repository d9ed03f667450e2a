"""The connector for OpenAI and for every service that speaks its protocol."""
