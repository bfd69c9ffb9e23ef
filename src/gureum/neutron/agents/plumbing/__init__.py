"""What the L3 and DHCP agents share: passes, namespaces, links, OVS ports, daemons, files, packets."""
