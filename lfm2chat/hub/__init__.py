"""Models that can be had and models that are here; the only part that talks to the network.

Only :func:`lfm2chat.hub.download.pull` opens a connection. Nothing is re-exported here, so that
listing and finding models does not load the downloader.
"""
