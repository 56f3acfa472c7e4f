"""Makes a pair of keys as zmq.auth does, and reads one that another program made.

Arguments: a directory and a name to write under, and a secret file to read. Prints both keys of that file.
"""

import sys

import zmq.auth


def main():
    directory, name, other = sys.argv[1:]
    zmq.auth.create_certificates(directory, name)
    public, secret = zmq.auth.load_certificate(other)
    print(public.decode("ascii"), secret.decode("ascii"), flush=True)


if __name__ == "__main__":
    main()
