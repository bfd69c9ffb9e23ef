"""The DHCP agent: dnsmasq in namespaces."""
