"""Makes connections one after the other, each with a hello of its own, and prints the server's resident memory."""
import os, socket, struct, sys, time
port, pid, count = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL" + bytes(16) + b"\x00" + bytes(31)
props = b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
ready = b"\x05READY" + props
ready = b"\x04" + bytes([len(ready)]) + ready
def rss():
    for l in open(f"/proc/{pid}/status"):
        if l.startswith("VmRSS"): return int(l.split()[1])
def take(s, n):
    b = b""
    while len(b) < n:
        p = s.recv(n - len(b)); assert p; b += p
    return b
def frame(s):
    flags, n = take(s, 2)
    if flags & 2: n = struct.unpack(">Q", bytes([n]) + take(s, 7))[0]
    return flags, take(s, n)
print("hellos,rss_kb", flush=True)
for n in range(count + 1):
    if n % 512 == 0: time.sleep(0.02); print(f"{n},{rss()}", flush=True)
    s = socket.create_connection(("127.0.0.1", port)); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(greeting + ready); take(s, 64); frame(s)
    body = b"\x02\x01" + os.urandom(16)
    s.sendall(b"\x01\x08" + os.urandom(8) + b"\x01\x00" + b"\x00" + bytes([len(body)]) + body)
    while frame(s)[0] & 1: pass
    s.close()
