"""The pure parts of the guest image: archive, boot record, owners, cache key, package choice."""

import struct
from pathlib import Path

import pytest

from gureum.core.runner import FakeRunner
from gureum.guestimage import build, cpio, disk, elf, packages


def test_archive_is_the_same_for_the_same_tree(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to("busybox")
    (tmp_path / "init").write_text("#!/bin/sh\n")
    first = cpio.archive(tmp_path)
    assert first == cpio.archive(tmp_path)
    assert first.startswith(b"070701")
    assert b"TRAILER!!!" in first
    assert len(first) % 4 == 0


def test_archive_entries_belong_to_root(tmp_path: Path) -> None:
    (tmp_path / "init").write_text("x")
    header = cpio.archive(tmp_path)[:110].decode()
    owner, group = header[22:30], header[30:38]
    assert (owner, group) == ("00000000", "00000000")


def test_boot_record_holds_one_active_linux_partition_at_one_mib() -> None:
    record = disk.boot_record(b"\xeb\x63" + b"\x90" * 510, 4096)
    assert len(record) == 512
    assert record[:2] == b"\xeb\x63"
    assert record[510:] == b"\x55\xaa"
    active, kind = record[446], record[450]
    assert (active, kind) == (0x80, 0x83)
    assert struct.unpack_from("<II", record, 454) == (2048, 4096)
    assert record[462:510] == bytes(48)


def test_boot_loader_larger_than_the_gap_is_refused(tmp_path: Path) -> None:
    partition = tmp_path / "p"
    partition.write_bytes(b"\0" * 512)
    with pytest.raises(ValueError, match="does not fit"):
        disk.assemble(b"", b"x" * disk.MIB, partition, tmp_path / "d")


def test_partition_lies_behind_the_boot_loader(tmp_path: Path) -> None:
    partition = tmp_path / "p"
    partition.write_bytes(b"part" + b"\0" * (2 * disk.MIB - 8) + b"end!")
    disk.assemble(b"code", b"core", partition, tmp_path / "d")
    data = (tmp_path / "d").read_bytes()
    assert data[512:516] == b"core"
    assert data[disk.MIB : disk.MIB + 4] == b"part"
    assert data[3 * disk.MIB - 4 : 3 * disk.MIB] == b"end!"


def test_home_belongs_to_the_guest_user_and_the_rest_to_root(tmp_path: Path) -> None:
    (tmp_path / "home" / "gureum").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    script = disk.ownership_script(tmp_path)
    assert 'sif "/etc" uid 0' in script
    assert 'sif "/home" uid 0' in script
    assert 'sif "/home/gureum" uid 1000' in script


def test_file_that_is_no_program_needs_no_library(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    assert elf.needed_libraries(tmp_path / "script") == ()


def test_program_names_the_c_library() -> None:
    assert "libc.so.6" in elf.needed_libraries(Path("/bin/cat").resolve())


def test_first_alternative_and_only_libraries_are_followed() -> None:
    answers = {
        ("linux-image-amd64",): "linux-image-amd64\n  Depends: linux-image-9-amd64\n",
        ("linux-image-9-amd64",): "x\n  Depends: kmod\n |Depends: initramfs-tools\n",
    }

    def answer(args: tuple[str, ...], _input: bytes | None) -> str:
        names = args[8:]
        if "curl" in names:
            return (
                "curl\n  Depends: libcurl4\n |Depends: libsystemd0\n  Depends: libelogind0\n"
                "  Depends: perl\n  Depends: linux-image-9-amd64\n"
            )
        return answers.get(names, "")

    names = packages.resolve(FakeRunner(answer))
    assert {"libcurl4", "libsystemd0", "curl", "linux-image-9-amd64"} <= set(names)
    assert not {"libelogind0", "perl", "linux-image-amd64"} & set(names)


def test_unknown_kernel_package_says_what_to_run() -> None:
    with pytest.raises(packages.PackagesUnavailable, match="apt-get update"):
        packages.resolve(FakeRunner())


def test_image_of_the_same_source_is_not_built_again(tmp_path: Path) -> None:
    output = tmp_path / "guest.qcow2"
    output.write_bytes(b"image")
    output.with_suffix(".json").write_text(f'{{"source": "{build.source_key()}"}}')
    runner = FakeRunner()
    files = build.build(runner, output, tmp_path / "cache")
    assert files.qcow2 == output
    assert runner.calls == []


def test_image_of_another_source_is_built_again(tmp_path: Path) -> None:
    output = tmp_path / "guest.qcow2"
    output.write_bytes(b"image")
    output.with_suffix(".json").write_text('{"source": "old"}')
    with pytest.raises(packages.PackagesUnavailable):
        build.build(FakeRunner(), output, tmp_path / "cache")
    assert output.read_bytes() == b"image"
