"""The guest test image: what `gureum image build` makes, from Debian packages and our own scripts.

Owns: choosing and fetching packages, the root tree, the initramfs, the partition table, the boot
loader and the agent scripts in `files/`. Must not: need root, loop devices or an installed package
other than `BUILD_PACKAGES`. Follows `guest-image.md` of the conformance pages.
"""

# What the machine that builds needs; everything that goes into the image is only downloaded.
BUILD_PACKAGES: tuple[str, ...] = ("e2fsprogs", "qemu-utils", "dpkg", "apt", "zstd")

IMAGE_NAME = "gureum-guest"
GUEST_USER = "gureum"
GUEST_PASSWORD = "gureum"
