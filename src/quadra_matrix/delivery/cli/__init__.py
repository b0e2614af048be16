"""The commands ``quadra canary``, ``quadra bluegreen`` and ``quadra local``; a file each."""
