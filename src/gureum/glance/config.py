"""Glance's options."""

from dataclasses import dataclass

from gureum.core.config import option, section

GIB = 1 << 30


@section("glance", "The image service.")
@dataclass(frozen=True, slots=True)
class GlanceOptions:
    """General settings."""

    enabled_backends: list[str] = option(
        "The stores, as NAME:KIND with KIND file, http, s3, swift or memory (for tests); the settings"
        " of each stand in [glance.backend.NAME].",
        default=["file:file"],
    )
    default_backend: str = option(
        "The store of images that name none; empty for the first one.", default=""
    )
    filesystem_store_datadir: str = option(
        "Folder of a file store that names none; processes on other machines need the same one.",
        default="{state_dir}/images",
    )
    node_staging_uri: str = option(
        "Folder of bytes that wait for their import, and of uploads on their way to stores elsewhere."
        " Several glance-api processes need the same one.",
        default="file://{state_dir}/staging",
    )
    enabled_import_methods: list[str] = option(
        "How bytes may be imported.",
        default=["glance-direct", "web-download", "glance-download", "copy-image"],
    )
    import_workers: int = option("Imports at the same time in one process.", default=4, min=1)
    task_time_to_live: int = option(
        "How long tasks are shown after their end.", default=48, unit="h", min=1
    )
    show_image_direct_url: bool = option(
        "Whether direct_url is shown. Locations tell where the stores are.", default=False
    )
    show_multiple_locations: bool = option(
        "Whether the locations property is shown and can be changed.", default=False
    )
    hashing_algorithm: str = option(
        "Digest of os_hash_value, beside the md5 of checksum.",
        default="sha512",
        choices=("sha512", "sha256", "sha384", "sha3_256", "sha3_512", "blake2b"),
    )
    do_secure_hash: bool = option(
        "Whether a location that is added is read once for its hashes.", default=True
    )
    use_keystone_limits: bool = option(
        "Whether the limits of projects are Keystone's registered limits image_size_total,"
        " image_stage_total (MiB), image_count_total and image_count_uploading of this service.",
        default=False,
    )
    keystone_limits_cache_s: float = option(
        "How long limits are remembered.", default=10.0, unit="s", min=0
    )
    image_cache_dir: str = option(
        "Folder of the image cache; empty for none.", default="{state_dir}/image-cache"
    )
    image_cache_max_size: int = option(
        "Bytes of the image cache that pruning leaves.", default=10 * GIB, unit="bytes", min=0
    )
    image_cache_stall_time: int = option(
        "After how long a file that the cache was filling counts as abandoned.",
        default=86400,
        unit="s",
        min=1,
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


@section("glance.backend.*", "One store, such as [glance.backend.file].")
@dataclass(frozen=True, slots=True)
class BackendOptions:
    """Settings of one store; each kind reads its own."""

    store_description: str = option("What administrators read of the store.", default="")
    weight: int = option("Stores of more weight are asked for bytes first.", default=0)
    filesystem_store_datadir: str = option(
        "Folder of a file store; empty for [glance] filesystem_store_datadir.", default=""
    )
    filesystem_store_chunk_size: int = option(
        "Piece in which a file is read.", default=1 << 20, unit="bytes", min=4096
    )
    http_timeout_s: float = option(
        "How long an http store waits for its other side.", default=30.0, unit="s", min=1
    )
    https_ca_certificates_file: str = option(
        "Certificates of authorities that an http store trusts; empty for the system's.", default=""
    )
    s3_store_host: str = option("Address of the S3 service, with its scheme.", default="")
    s3_store_access_key: str = option("Access key.", default="", secret=True)
    s3_store_secret_key: str = option("Secret key.", default="", secret=True)
    s3_store_bucket: str = option("Bucket of the images.", default="glance")
    s3_store_region_name: str = option("Region of the bucket.", default="")
    s3_store_bucket_url_format: str = option(
        "How the bucket stands in the URL.", default="auto", choices=("auto", "virtual", "path")
    )
    s3_store_create_bucket_on_put: bool = option("Whether a missing bucket is made.", default=False)
    s3_store_large_object_size: int = option(
        "From this size on an image is sent in parts.", default=100, unit="MiB", min=5
    )
    s3_store_large_object_chunk_size: int = option("Size of a part.", default=10, unit="MiB", min=5)
    s3_store_thread_pools: int = option("Parts at the same time.", default=10, min=1, max=64)
    s3_store_cacert: str = option("Certificates that are trusted.", default="")
    swift_store_auth_address: str = option("Keystone's address, ending in /v3.", default="")
    swift_store_user: str = option("PROJECT:USER.", default="")
    swift_store_key: str = option("Password of the user.", default="", secret=True)
    swift_store_container: str = option("Container of the images.", default="glance")
    swift_store_create_container_on_put: bool = option(
        "Whether a missing container is made.", default=False
    )
    swift_store_region: str = option("Region of the end point.", default="")
    swift_store_endpoint_type: str = option(
        "Which end point is used.",
        default="publicURL",
        choices=("publicURL", "internalURL", "adminURL"),
    )
    swift_store_endpoint: str = option(
        "Storage URL that is used instead of the catalogue's.", default=""
    )
    swift_store_service_type: str = option("Word of the catalogue.", default="object-store")
    swift_store_user_domain_id: str = option("Domain of the user.", default="default")
    swift_store_project_domain_id: str = option("Domain of the project.", default="default")
    swift_store_large_object_size: int = option(
        "Above this size an image is sent in segments.", default=5120, unit="MiB", min=1
    )
    swift_store_large_object_chunk_size: int = option(
        "Size of a segment.", default=200, unit="MiB", min=1
    )
    swift_store_cacert: str = option("Certificates that are trusted.", default="")
    swift_store_auth_insecure: bool = option("Whether certificates are not checked.", default=False)


@section("glance.import_filtering_opts", "What web-download and locations may name.")
@dataclass(frozen=True, slots=True)
class FilterOptions:
    """Each list of what is allowed beats its list of what is not."""

    allowed_schemes: list[str] = option("Schemes.", default=["http", "https"])
    disallowed_schemes: list[str] = option("Schemes that are refused.", default=[])
    allowed_hosts: list[str] = option("Hosts; empty for any.", default=[])
    disallowed_hosts: list[str] = option("Hosts that are refused.", default=[])
    allowed_ports: list[int] = option("Ports.", default=[80, 443])
    disallowed_ports: list[int] = option("Ports that are refused.", default=[])
    allowed_private_networks: list[str] = option(
        "Address ranges that may be reached although they are not public, such as 10.0.0.0/8.",
        default=[],
    )
    max_redirects: int = option("Redirects that are followed.", default=5, min=0, max=20)


@section("glance.image_import_opts", "What happens to bytes between their import and the store.")
@dataclass(frozen=True, slots=True)
class ImportOptions:
    """The plugins of imports."""

    image_import_plugins: list[str] = option(
        "Any of image_decompression, image_conversion, inject_image_metadata.", default=[]
    )
    output_format: str = option(
        "What image_conversion makes of images.", default="raw", choices=("raw", "qcow2", "vmdk")
    )
    conversion_timeout_s: float = option(
        "How long a conversion may take.", default=3600.0, unit="s", min=1
    )
    conversion_cpu_s: int = option("Processor time of a conversion.", default=1800, unit="s", min=1)
    conversion_memory_mib: int = option(
        "Address space of a conversion.", default=2048, unit="MiB", min=256
    )
    inject: dict[str, str] = option("Properties that inject_image_metadata sets.", default={})
    ignore_user_roles: list[str] = option(
        "Roles whose images are left as they are.", default=["admin"]
    )
    extra_properties: list[str] = option(
        "Beginnings of names of properties that glance-download copies.",
        default=["hw_", "trait:", "os_distro", "os_secure_boot", "os_type"],
    )


OPTIONS = (GlanceOptions, BackendOptions, FilterOptions, ImportOptions)
