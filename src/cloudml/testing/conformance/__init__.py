"""Every sentence of the SPI as a test: subclass a contract and give it a fixture ``rig``."""
