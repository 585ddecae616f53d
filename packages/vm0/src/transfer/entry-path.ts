import { Vm0Error } from '@vm0/contract/client'

/**
 * Where a tar entry may lie below the folder that it is unpacked into: the components of its name, none for the folder
 * itself. A name that is absolute or has `..` in it makes no honest archive: FILE_INVALID.
 */
export function entryPath(name: string, platform: NodeJS.Platform = process.platform): string[] {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.')
  const strange = platform === 'win32' && /[\\:]/.test(name)
  if (name.startsWith('/') || parts.includes('..') || name.includes('\0') || strange)
    throw new Vm0Error(
      'FILE_INVALID',
      `the archive has an entry named ${JSON.stringify(name)}: expected one inside the folder`,
      { hint: 'Nothing was written for it. Something in the sandbox made an archive that is meant to do harm.' },
    )
  return parts
}

/**
 * Whether a symbolic link in the folder `depth` levels below the root can't lead out of the root. `..` counts only at its
 * beginning, where it climbs real folders: after a name, which may be a link itself, nobody can tell where it leads.
 */
export function staysInside(target: string, depth: number): boolean {
  if (target.startsWith('/') || /^[A-Za-z]:|\\/.test(target)) return false
  const parts = target.split('/').filter((part) => part !== '' && part !== '.')
  const climbs = parts.findIndex((part) => part !== '..')
  const ups = climbs === -1 ? parts.length : climbs
  return ups <= depth && !parts.slice(ups).includes('..')
}
