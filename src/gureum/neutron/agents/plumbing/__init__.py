"""What the L3 and DHCP agents share: namespaces, links, OVS ports, daemons, files, packets."""
