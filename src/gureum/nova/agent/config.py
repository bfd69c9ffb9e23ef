"""Options of nova-compute and of its libvirt driver, by their classic names where there is one."""

from dataclasses import dataclass

from gureum.core.config import option, section


@section("nova.compute", "The compute host: heartbeat, reconciliation, guests' disks.")
@dataclass(frozen=True, slots=True)
class ComputeOptions:
    """Options of nova-compute."""

    compute_driver: str = option(
        "Driver of this host's guests.", default="libvirt", choices=("libvirt", "fake")
    )
    state_path: str = option("Journal and small state of the agent.", default="{state_dir}/nova")
    instances_path: str = option("Disks of the guests.", default="{state_dir}/instances")
    my_ip: str = option("Address at which other hosts reach this one.", default="127.0.0.1")
    report_interval: float = option(
        "Time between heartbeats.", default=10.0, unit="s", min=0.1, max=600
    )
    sync_power_state_interval: float = option(
        "Time between comparisons of guests with the database.",
        default=60.0,
        unit="s",
        min=0.1,
        max=3600,
    )
    image_cache_manager_interval: float = option(
        "Time between looks for base images that no guest uses.",
        default=2400.0,
        unit="s",
        min=1,
        max=86400,
    )
    resume_guests_state_on_host_boot: bool = option(
        "Start the guests that ran before the host was booted again.", default=True
    )
    running_deleted_instance_action: str = option(
        "What happens to a guest whose server is deleted.", default="reap", choices=("reap", "log")
    )
    reserved_host_memory_mb: int = option(
        "Memory kept for the host.", default=512, unit="MiB", min=0
    )
    reserved_host_disk_mb: int = option("Disk kept for the host.", default=0, unit="MiB", min=0)
    job_workers: int = option(
        "Jobs that run at once on this host.", default=16, unit="threads", min=1, max=64
    )
    force_config_drive: bool = option("Give every guest a config drive.", default=False)
    dhcp_domain: str = option(
        "Domain appended to host names in metadata; empty appends nothing.", default=""
    )
    image_timeout_s: float = option(
        "How long the image service may stay silent.", default=60.0, unit="s", min=1, max=3600
    )
    fake_spawn_s: float = option("How long the fake driver takes to spawn.", default=0.0, unit="s")


@section("nova.libvirt", "How nova-compute drives libvirt.")
@dataclass(frozen=True, slots=True)
class LibvirtOptions:
    """Options of the libvirt driver."""

    connection_uri: str = option("Where libvirtd is.", default="qemu:///system")
    instance_name_template: str = option(
        "libvirt's name of a guest; %x stands for the server's number.", default="instance-%08x"
    )
    virt_type: str = option(
        "Kind of guests; auto takes kvm when a probe guest really runs under it.",
        default="auto",
        choices=("auto", "kvm", "qemu"),
    )
    probe_timeout_s: float = option(
        "How long the probe guest may take.", default=15.0, unit="s", min=1, max=120
    )
    call_timeout_s: float = option(
        "How long one call of libvirt may take.", default=60.0, unit="s", min=1, max=600
    )
    connections: int = option(
        "Calls of libvirt that may run at once.", default=8, unit="threads", min=1, max=64
    )
    cpu_mode: str = option(
        "CPU of the guests; auto is host-model under kvm, maximum under qemu.",
        default="auto",
        choices=("auto", "none", "host-model", "host-passthrough", "maximum", "custom"),
    )
    cpu_model: str = option("CPU model for cpu_mode custom.", default="")
    hw_machine_type: str = option("Machine type when the image names none.", default="pc")
    pointer_model: str = option(
        "Pointer of guests with a screen.", default="usbtablet", choices=("ps2mouse", "usbtablet")
    )
    rng_dev_path: str = option("Source of the guests' random bytes.", default="/dev/urandom")
    disk_cachemode: str = option(
        "Cache mode of file disks.",
        default="writeback",
        choices=("none", "writeback", "writethrough", "directsync", "unsafe"),
    )
    vif_offload: str = option(
        "Checksum and segmentation offload of network cards; auto turns it off on a user-space"
        " (netdev) Open vSwitch, where it corrupts TCP.",
        default="auto",
        choices=("auto", "on", "off"),
    )
    server_listen: str = option("Address that guests' screens listen at.", default="127.0.0.1")
    server_proxyclient_address: str = option(
        "Address at which the console proxy reaches the screens; empty means server_listen.",
        default="",
    )
    force_raw_images: bool = option(
        "Keep base images as raw files, whatever their format was.", default=True
    )
    remove_unused_base_images: bool = option("Remove base images no guest uses.", default=True)
    remove_unused_original_minimum_age_seconds: float = option(
        "How long a base image stays unused before it is removed.", default=86400.0, unit="s", min=0
    )
    max_image_gib: int = option(
        "Largest virtual size of an image for a flavor without a disk size.",
        default=256,
        unit="GiB",
        min=1,
    )
    image_child_memory_mib: int = option(
        "Address space that an image conversion may use.", default=1024, unit="MiB", min=128
    )
    image_child_cpu_s: int = option(
        "CPU time that an image conversion may use.", default=600, unit="s", min=1
    )
    mkisofs_cmd: str = option("Program that writes config drives.", default="genisoimage")
    console_log_bytes: int = option(
        "Most that is read of a console log.", default=131072, unit="B", min=1024, max=16777216
    )
    ovs_timeout_s: float = option(
        "How long one ovs-vsctl may take.", default=15.0, unit="s", min=1, max=120
    )
