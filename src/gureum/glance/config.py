"""Glance's options."""

from dataclasses import dataclass

from gureum.core.config import option, section

GIB = 1 << 30


@section("glance", "The image service.")
@dataclass(frozen=True, slots=True)
class GlanceOptions:
    """General settings."""

    store: str = option(
        "Where the bytes of images are kept.", default="file", choices=("file", "memory")
    )
    filesystem_store_datadir: str = option(
        "Folder of the file store; processes on other machines need the same one.",
        default="{state_dir}/images",
    )
    image_size_cap: int = option(
        "Largest image.", default=1024 * GIB, unit="bytes", min=1, max=(1 << 63) - 1
    )
    user_storage_quota: str = option(
        "Most bytes that the images of one project may have together, such as 10GB (units B, KB, MB,"
        " GB, TB; powers of 1024); 0 for no limit.",
        default="0",
    )
    image_count_quota: int = option(
        "Most images of one project; -1 for no limit.", default=-1, min=-1
    )
    image_property_quota: int = option(
        "Most additional properties of an image; -1 for no limit.", default=128, min=-1
    )
    image_tag_quota: int = option("Most tags of an image; -1 for no limit.", default=128, min=-1)
    image_member_quota: int = option(
        "Most members of an image; -1 for no limit.", default=128, min=-1
    )
    limit_param_default: int = option("Images of a page by default.", default=25, min=1)
    api_limit_max: int = option("Most images of a page.", default=1000, min=1)
    disk_formats: list[str] = option(
        "Names of disk formats that images may have.",
        default=[
            "ami",
            "ari",
            "aki",
            "vhd",
            "vhdx",
            "vmdk",
            "raw",
            "qcow2",
            "vdi",
            "iso",
            "ploop",
        ],
    )
    container_formats: list[str] = option(
        "Names of container formats that images may have.",
        default=["ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"],
    )
    require_image_format_match: bool = option(
        "Whether content without any structure is refused under the name of a structured format."
        " Structured content under another name, or with a way out of the image, always is.",
        default=True,
    )
    inspection_timeout_s: float = option(
        "How long the inspection of an upload may take.", default=60.0, unit="s", min=1, max=3600
    )
    inspection_cpu_s: int = option(
        "Processor time of the inspection.", default=30, unit="s", min=1, max=3600
    )
    inspection_memory_mib: int = option(
        "Address space of the inspection.", default=1024, unit="MiB", min=256, max=65536
    )
    reconcile_interval_s: float = option(
        "How often leftovers of uploads and deletions are looked for.",
        default=30.0,
        unit="s",
        min=1,
        max=3600,
    )


OPTIONS = (GlanceOptions,)
