import { Vm0Error } from '@vm0/contract'

/** OCI layers mark what is deleted by names of their own. */
export const whiteoutPrefix = '.wh.'
export const opaqueName = '.wh..wh..opq'

const maxNameBytes = 255
const maxPathBytes = 4096

/**
 * A path as a tar can have it; paths here are latin1 views of their bytes. A tar's names are UTF-8 and some mean something in
 * an OCI layer, so a path that isn't, or would, gets a similar one there and its bytes (`exact`, base64) beside it.
 */
export function tarPath(path: string): { name: string; exact?: string } {
  const bytes = Buffer.from(path, 'latin1')
  const text = new TextDecoder().decode(bytes)
  const isPlain = Buffer.from(text, 'utf8').equals(bytes) && !path.split('/').some(isMark)
  if (isPlain) return { name: text }
  const name = text.replaceAll('\uFEFF', '%EF%BB%BF').replaceAll(/(^|\/)\.wh\./g, '$1%2Ewh.')
  return { name, exact: bytes.toString('base64') }
}

const isMark = (name: string): boolean => name.startsWith(whiteoutPrefix)

/** The path that a tar names, relative to the layer's root ('' is the root itself); ARCHIVE_INVALID for one that leads out of it. */
export function pathOf(name: string, exact?: string): string {
  const given =
    exact === undefined ? Buffer.from(name, 'utf8').toString('latin1') : Buffer.from(exact, 'base64').toString('latin1')
  const path = exact === undefined ? given.replace(/^\.\//, '').replace(/\/$/, '') : given
  if (path === '' || path === '.') return ''
  const refuse = (what: string): never => {
    throw new Vm0Error('ARCHIVE_INVALID', `the entry ${JSON.stringify(name)} ${what}`)
  }
  if (path.length > maxPathBytes) refuse(`has a path of ${path.length} bytes; expected at most ${maxPathBytes}`)
  if (path.includes('\0')) refuse('has a NUL byte in its path')
  for (const part of path.split('/')) {
    if (part === '' || part === '.' || part === '..')
      refuse('has a path that leads out of the layer or is not plain; expected names between single slashes')
    if (part.length > maxNameBytes) refuse(`has a name of ${part.length} bytes; expected at most ${maxNameBytes}`)
  }
  return path
}
