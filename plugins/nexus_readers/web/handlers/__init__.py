"""What groups of elements of HTML mean for the text of their page: forms, tables."""
