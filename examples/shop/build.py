"""The build step: unpack the locked wheels and copy the application. It runs without network, in a sandbox."""

import os
import pathlib
import shutil
import zipfile

source, inputs, output = (pathlib.Path(os.environ[f"CUSTODY_{name}"]) for name in ("SOURCE", "INPUTS", "OUTPUT"))
packages = output / "1-dependencies" / "app" / "site-packages"
packages.mkdir(parents=True)
for wheel in sorted(inputs.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    data = packages / ("-".join(wheel.name.split("-")[:2]) + ".data")
    for part in ("purelib", "platlib"):
        if (data / part).is_dir():
            shutil.copytree(data / part, packages, dirs_exist_ok=True)
    shutil.rmtree(data, ignore_errors=True)
    print("unpacked", wheel.name)
shutil.copytree(source / "shop", output / "2-application" / "app" / "shop")
etc = output / "2-application" / "etc"
etc.mkdir()
(etc / "os-release").write_text('NAME="custody shop"\nID=custody-shop\nVERSION_ID=1\n')
(etc / "passwd").write_text("shop:x:10001:10001::/app:/usr/sbin/nologin\n")
