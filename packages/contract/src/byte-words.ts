/** Memory and disks in words: `372 MiB`, `3.9 GiB`. */
export function byteWords(bytes: number): string {
  return bytes < 1024 ** 3 ? `${Math.round(bytes / 1024 ** 2)} MiB` : `${(bytes / 1024 ** 3).toFixed(1)} GiB`
}
