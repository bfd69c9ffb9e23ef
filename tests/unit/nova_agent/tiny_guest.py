"""A guest of 512 bytes: it writes lines to its serial port and halts.

Enough to see that a guest really runs, without an image from anywhere.
"""

MESSAGE = b"tiny guest is up\r\n"
LINES = 20


def image(size_bytes: int = 1 << 20) -> bytes:
    """Return a raw disk whose boot sector prints MESSAGE LINES times on COM1."""
    code = bytearray()
    code += bytes.fromhex("fa31c08ed8")  # cli; xor ax,ax; mov ds,ax
    code += b"\xb9" + LINES.to_bytes(2, "little")  # mov cx,LINES
    again = len(code)
    code += b"\xbe\x00\x00"  # mov si,message
    fix = len(code) - 2
    following = len(code)
    code += b"\xac"  # lodsb
    code += b"\x84\xc0"  # test al,al
    code += b"\x74\x00"  # jz done
    fix_done = len(code) - 1
    code += b"\x88\xc4"  # mov ah,al
    code += b"\xba\xfd\x03"  # mov dx,0x3fd
    wait = len(code)
    code += b"\xec\xa8\x20"  # in al,dx; test al,0x20
    code += b"\x74" + _back(len(code) + 2, wait)  # jz wait
    code += b"\x88\xe0"  # mov al,ah
    code += b"\xba\xf8\x03\xee"  # mov dx,0x3f8; out dx,al
    code += b"\xeb" + _back(len(code) + 2, following)  # jmp next
    code[fix_done] = len(code) - (fix_done + 1)
    code += b"\x49"  # done: dec cx
    code += b"\x75" + _back(len(code) + 2, again)  # jnz again
    code += b"\xf4\xeb\xfd"  # hlt; jmp hlt
    code[fix : fix + 2] = (0x7C00 + len(code)).to_bytes(2, "little")
    code += MESSAGE + b"\x00"
    sector = bytes(code) + bytes(510 - len(code)) + b"\x55\xaa"
    return sector + bytes(size_bytes - len(sector))


def _back(after: int, target: int) -> bytes:
    return (target - after).to_bytes(1, "little", signed=True)
