"""The controlled host pyramid, and the published architectures; see ``registry``."""
