"""The web page: plain files of this package, served as they are, and the routes that serve them."""
