"""Open vSwitch as the L2, L3 and DHCP agents use it: its database and its flow tables."""
