"""Archives that repositories are made of."""

def unpack_archives(rctx, *, urls, sha256s, output):
    """Downloads archives and unpacks them, Debian packages too, into one directory.

    Args:
      rctx: the repository's context.
      urls: list of string, of each archive its mirrors, with spaces between.
      sha256s: list of string, the checksum of each archive.
      output: path of the directory in the repository.
    """
    for i, (url, sha256) in enumerate(zip(urls, sha256s)):
        archive = "archives/{}/{}".format(i, url.split("?")[0].split("/")[-1])
        rctx.download(url.split(" "), archive, sha256 = sha256)
        if not archive.endswith(".deb"):
            rctx.extract(archive, output)
            continue
        unpacked = "archives/{}/unpacked".format(i)
        rctx.extract(archive, unpacked)
        data = [path for path in rctx.path(unpacked).readdir() if path.basename.startswith("data.tar")]
        if len(data) != 1:
            fail("{} is not a Debian package: it has no data.tar".format(url))
        rctx.extract(data[0], output)
    rctx.delete("archives")
