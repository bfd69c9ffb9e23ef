"""neutron-openvswitch-agent: guests' ports, networks and security groups as Open vSwitch flows."""
