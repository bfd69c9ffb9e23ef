"""Images that are not what they claim. Numbers are those of the list of abuse cases.

The content is looked into by a real child process, and by qemu-img where it is installed.
"""

import os
import shutil
import struct
import subprocess
import sys

import pytest
from glance_cloud import build

from gureum.glance.inspector.child import ploop_size

needs_qemu = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is missing")

GIB = 1 << 30


def made(tmp_path, kind, *options, size="64M"):
    path = tmp_path / "made"
    command = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        kind,
        *options,
        str(path),
        *([size] if size else []),
    ]
    subprocess.run(command, check=True)
    return path.read_bytes()


def refused(cloud, content, disk_format, status=415):
    image = cloud.create(disk_format=disk_format)
    answer = cloud.upload(image["id"], content)
    assert answer.status == status, answer.body
    assert cloud.show(image["id"])["status"] == "queued"
    assert cloud.show(image["id"])["size"] is None
    assert not cloud.kept() and cloud.unpublished() == 0
    return answer.json()["message"]


@needs_qemu
@pytest.mark.parametrize(
    ("disk_format", "qemu"),
    [
        ("qcow2", "qcow2"),
        ("vdi", "vdi"),
        ("vmdk", "vmdk"),
        ("vhd", "vpc"),
        ("vhdx", "vhdx"),
        ("ploop", "parallels"),
    ],
)
def test_honest_image_is_accepted_with_its_virtual_size(strict, tmp_path, disk_format, qemu):
    options = ("-o", "subformat=streamOptimized") if qemu == "vmdk" else ()
    if qemu == "vpc":
        options = ("-o", "force_size=on")
    image = strict.active(made(tmp_path, qemu, *options), disk_format=disk_format)
    assert image["virtual_size"] == 64 << 20
    assert image["status"] == "active"


def test_plain_bytes_and_kernels_are_accepted(strict):
    assert strict.active(os.urandom(4096))["virtual_size"] == 4096
    assert strict.active(b"")["size"] == 0
    for name in ("ami", "aki", "ari"):
        assert (
            strict.active(b"\x7fELF" * 99, disk_format=name, container_format=name)["size"] == 396
        )


def boot_sector(content, entry=b""):
    """Mark bytes as a firmware's boot sector, as every kernel is; entry: of the partition table."""
    marked = bytearray(content)
    marked[446 : 446 + len(entry)] = entry
    marked[510:512] = b"\x55\xaa"
    return bytes(marked)


def test_kernel_with_the_mark_of_a_boot_sector_is_accepted(strict):
    kernel = boot_sector(b"\x4d\x5a\xea" * 2000)
    for name in ("aki", "ami"):
        assert strict.active(kernel, disk_format=name, container_format=name)["size"] == 6000
    assert strict.active(kernel, disk_format="raw")["virtual_size"] == 6000


def test_cd_that_starts_from_a_disks_firmware_too_is_accepted(strict):
    volume = bytes(32768) + b"\x01CD001\x01\x00" + bytes(2040)
    end = b"\xffCD001\x01" + bytes(2041)
    hybrid = boot_sector(volume + end, struct.pack("<8B2I", 0x80, 0, 1, 0, 0x17, 0, 0, 0, 1, 64))
    assert strict.active(hybrid, disk_format="iso")["status"] == "active"


@needs_qemu
def test_format_that_hides_behind_a_boot_sector_is_refused(strict, tmp_path):
    content = boot_sector(made(tmp_path, "qcow2"), struct.pack("<8B2I", 0x80, *[1] * 7, 1, 64))
    for claimed in ("raw", "aki"):
        assert "at once" in refused(strict, content, claimed)


@pytest.mark.parametrize(
    ("magic", "sectors", "size"),
    [
        (b"WithoutFreeSpace", 2048, 1 << 20),
        (b"WithoutFreeSpace", (7 << 32) + 2048, 1 << 20),
        (b"WithouFreSpacExt", 1 << 33, 1 << 42),
    ],
)
def test_size_of_a_ploop_is_read_from_both_of_its_forms(tmp_path, magic, sectors, size):
    path = tmp_path / "disk"
    head = struct.pack("<16sIIIIIQ", magic, 2, 16, 1, 2048, 1, sectors)
    path.write_bytes(head.ljust(4096, b"\0"))
    assert ploop_size(str(path)) == size
    path.write_bytes(head[:20])
    assert ploop_size(str(path)) is None
    path.write_bytes(head.replace(struct.pack("<I", 2), struct.pack("<I", 3), 1))
    assert ploop_size(str(path)) is None


@needs_qemu
def test_abuse_1_backing_file_is_refused(strict, tmp_path):
    content = made(tmp_path, "qcow2", "-u", "-b", "/etc/passwd", "-F", "raw")
    assert "/etc/passwd" not in refused(strict, content, "qcow2")


def test_abuse_3_vmdk_descriptor_that_names_a_file_is_refused(strict):
    descriptor = (
        b"# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
        b'createType="monolithicFlat"\nRW 2048 FLAT "/etc/passwd" 0\n'
    )
    refused(strict, descriptor.ljust(4096, b"\0"), "vmdk")
    refused(strict, descriptor, "vmdk")


@needs_qemu
def test_abuse_3_flat_vmdk_is_refused(strict, tmp_path):
    path = tmp_path / "flat.vmdk"
    command = ["qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat"]
    subprocess.run([*command, str(path), "1M"], check=True)
    refused(strict, path.read_bytes(), "vmdk")


@needs_qemu
def test_abuse_4_data_file_is_refused(strict, tmp_path):
    path = tmp_path / "data.raw"
    refused(strict, made(tmp_path, "qcow2", "-o", f"data_file={path},data_file_raw=on"), "qcow2")


@needs_qemu
@pytest.mark.parametrize("qemu", ["qcow2", "vmdk", "vdi", "vhdx", "parallels"])
def test_abuse_5_structured_image_labelled_raw_is_refused(strict, tmp_path, qemu):
    content = made(tmp_path, qemu)
    for claimed in ("raw", "iso"):
        refused(strict, content, claimed)


@pytest.mark.parametrize("claimed", ["qcow2", "vmdk", "vdi", "vhd", "vhdx", "iso", "ploop"])
def test_abuse_5_plain_bytes_labelled_as_a_format_are_refused(strict, claimed):
    refused(strict, b"\0" * 70000, claimed)
    refused(strict, b"", claimed)


@needs_qemu
def test_abuse_5_amazon_labels_do_not_hide_a_format(strict, tmp_path):
    content = made(tmp_path, "qcow2")
    for name in ("ami", "aki", "ari"):
        image = strict.create(disk_format=name, container_format=name)
        assert strict.upload(image["id"], content).status == 415
    packed = strict.create(disk_format="qcow2", container_format="ova")
    assert strict.upload(packed["id"], content).status == 415


def test_abuse_7_image_that_makes_programs_grow_is_refused_in_time(tmp_path):
    # A version 2 header with a huge level 1 table: programs that believe it take gigabytes.
    cloud = build(tmp_path, inspect=True, inspection_timeout_s=20.0, inspection_memory_mib=512)
    header = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 9, 1 << 62, 0, 1 << 30, 512, 1024, 1 << 20, 0, 0
    )
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu-img is missing")
    refused(cloud, header.ljust(4096, b"\0"), "qcow2")


@needs_qemu
def test_abuse_8_virtual_size_is_told_as_it_is(strict, tmp_path):
    image = strict.active(made(tmp_path, "qcow2", size="900G"), disk_format="qcow2")
    assert image["virtual_size"] == 900 * GIB and image["size"] < GIB


def test_abuse_9_ids_and_locations_reach_no_path(strict):
    for id in ("..%2F..%2Fetc%2Fpasswd", "%2e%2e", "staged-1"):
        assert strict.call("GET", f"/v2/images/{id}/file").status == 404
    locations = [{"url": "file:///etc/passwd", "metadata": {}}]
    assert strict.call("POST", "/v2/images", {"locations": locations}).status == 403


@needs_qemu
def test_import_of_an_unfit_image_leaves_it_queued(strict, tmp_path):
    image = strict.create(disk_format="raw")
    assert strict.upload(image["id"], made(tmp_path, "qcow2"), verb="stage").status == 204
    assert strict.import_image(image["id"]).status == 202
    strict.run_sagas()
    shown = strict.show(image["id"])
    assert shown["status"] == "queued" and shown["os_glance_failed_import"] == "file"
    assert not strict.kept() and not strict.staged()


def test_inspection_that_dies_refuses_the_image(tmp_path):
    cloud = build(tmp_path, inspect=True, inspection_timeout_s=0.001)
    refused(cloud, b"x", "raw")


@needs_qemu
def test_abuse_5_lenient_match_still_refuses_structure_under_another_name(tmp_path):
    cloud = build(tmp_path, inspect=True, require_image_format_match=False)
    refused(cloud, made(tmp_path, "qcow2"), "raw")
    refused(cloud, made(tmp_path, "qcow2"), "vmdk")
    refused(cloud, made(tmp_path, "qcow2", "-u", "-b", "/etc/passwd", "-F", "raw"), "qcow2")
    assert cloud.active(b"x" * 2000, disk_format="qcow2")["status"] == "active"


def test_inspection_in_a_process_of_others_leaves_their_library_alone():
    """Alone it takes a part of the library past its package; nobody else may see that."""
    from oslo_utils import imageutils

    assert ploop_size.__module__ in sys.modules and imageutils.QemuImgInfo
