# SPDX-License-Identifier: Apache-2.0
"""`python -m controller` is `ovs-geneve`."""

from controller.cli.main import main

if __name__ == "__main__":
    main()
