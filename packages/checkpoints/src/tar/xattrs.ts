import { Vm0Error } from '@vm0/contract'

export type Xattr = readonly [name: string, value: Uint8Array]

const textPrefix = 'SCHILY.xattr.'
/** Where the value isn't text: the name with escapes, the value in base64, as libarchive has them. */
const binaryPrefix = 'LIBARCHIVE.xattr.'
const maxTotalBytes = 65_536

/** What a sandbox can set and carries a meaning there. Not among them: what overlays note for themselves, which would have them show other files. */
function isCarried(name: string): boolean {
  return (
    name.startsWith('user.') ||
    name === 'security.capability' ||
    name === 'system.posix_acl_access' ||
    name === 'system.posix_acl_default'
  )
}

export function paxXattrs(xattrs: readonly Xattr[]): Record<string, string> {
  const pax: Record<string, string> = {}
  for (const [name, value] of xattrs.filter(([name]) => isCarried(name))) {
    const text = new TextDecoder().decode(value)
    const plainName = /^[\x21-\x3c\x3e-\x7e]+$/.test(name)
    if (plainName && Buffer.from(text, 'utf8').equals(value)) pax[textPrefix + name] = text
    else pax[binaryPrefix + escape(name)] = Buffer.from(value).toString('base64')
  }
  return pax
}

/** Those of a header; names are latin1 views of their bytes. */
export function xattrsOf(pax: Record<string, string> = {}): Xattr[] {
  const found: Xattr[] = []
  for (const [key, value] of Object.entries(pax)) {
    if (key.startsWith(textPrefix)) found.push([key.slice(textPrefix.length), Buffer.from(value, 'utf8')])
    else if (key.startsWith(binaryPrefix))
      found.push([unescape(key.slice(binaryPrefix.length)), Buffer.from(value, 'base64')])
  }
  let total = 0
  for (const [name, value] of found) {
    total += name.length + value.length
    if (!isCarried(name) || name.includes('\0') || name.length > 255 || total > maxTotalBytes)
      throw new Vm0Error(
        'ARCHIVE_INVALID',
        `the extended attribute ${JSON.stringify(name.slice(0, 100))} is not taken in; expected user.*, file capabilities or ACLs, ${maxTotalBytes} bytes together`,
      )
  }
  return found.toSorted(([a], [b]) => (a < b ? -1 : 1))
}

const escape = (name: string): string =>
  name.replaceAll(/[^A-Za-z0-9._-]/g, (char) => `%${char.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()}`)
const unescape = (text: string): string =>
  text.replaceAll(/%([0-9A-F]{2})/g, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
