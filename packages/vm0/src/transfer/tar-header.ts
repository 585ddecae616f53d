/** Of everything in a tar. */
export const blockBytes = 512

export interface TarEntry {
  /** Below the folder that is packed, with slashes; no slash at the end of a folder's. */
  name: string
  kind: 'folder' | 'file' | 'link'
  mode: number
  modifiedMs: number
  sizeBytes: number
  /** Where a link leads. */
  target: string
}

export const paddingOf = (bytes: number): number => (blockBytes - (bytes % blockBytes)) % blockBytes

/** Where the fields of a ustar header begin, and how long they are. */
const fields = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  linkname: [157, 100],
  magic: [257, 8],
} as const
const types = { file: 0x30, link: 0x32, folder: 0x35, pax: 0x78 }
/** Of eleven octal digits. */
const maxOctal = 8 ** 11 - 1

/** The header of an entry; before it, in a PAX header, what doesn't fit into it. */
export function tarHeader({ name, kind, mode, modifiedMs, sizeBytes, target }: TarEntry): Buffer {
  const path = kind === 'folder' ? `${name}/` : name
  const seconds = Math.floor(modifiedMs / 1000)
  const records = [
    Buffer.byteLength(path) > fields.name[1] && record('path', path),
    Buffer.byteLength(target) > fields.linkname[1] && record('linkpath', target),
    sizeBytes > maxOctal && record('size', String(sizeBytes)),
    (seconds < 0 || seconds > maxOctal) && record('mtime', String(seconds)),
  ].filter((each) => each !== false)
  const mtime = Math.min(maxOctal, Math.max(0, seconds))
  const own = block({ name: path, type: types[kind], mode, size: Math.min(sizeBytes, maxOctal), mtime, target })
  if (records.length === 0) return own
  const extra = Buffer.from(records.join(''))
  const pax = block({ name: 'PaxHeader', type: types.pax, mode: 0o644, size: extra.length, mtime, target: '' })
  return Buffer.concat([pax, extra, Buffer.alloc(paddingOf(extra.length)), own])
}

/** A PAX record begins with its own length, which counts the digits of that length. */
function record(key: string, value: string): string {
  const bytes = Buffer.byteLength(` ${key}=${value}\n`)
  let length = bytes + String(bytes).length
  if (String(length).length > String(bytes).length) length += 1
  return `${length} ${key}=${value}\n`
}

interface Fields {
  name: string
  type: number
  mode: number
  size: number
  mtime: number
  target: string
}

function block({ name, type, mode, size, mtime, target }: Fields): Buffer {
  const header = Buffer.alloc(blockBytes)
  header.write(name, fields.name[0], fields.name[1])
  octal(header, fields.mode, mode)
  octal(header, fields.uid, 0)
  octal(header, fields.gid, 0)
  octal(header, fields.size, size)
  octal(header, fields.mtime, mtime)
  header[fields.type[0]] = type
  if (target !== '') header.write(target, fields.linkname[0], fields.linkname[1])
  header.write('ustar\u000000', fields.magic[0], 'latin1')
  header.fill(0x20, fields.checksum[0], fields.checksum[0] + fields.checksum[1])
  let sum = 0
  for (let index = 0; index < blockBytes; index++) sum += header[index] as number
  octal(header, [fields.checksum[0], 7], sum)
  return header
}

/** Digits with zeros in front; the field's last byte stays what it is. */
function octal(header: Buffer, [at, length]: readonly [number, number], value: number): void {
  let rest = value
  for (let index = at + length - 2; index >= at; index--) {
    header[index] = 0x30 + (rest % 8)
    rest = Math.floor(rest / 8)
  }
}
