"""Files that clients send: where they are kept until they are read, and who reads them when."""
