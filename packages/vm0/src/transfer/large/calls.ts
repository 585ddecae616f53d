import type { CallOfFolder } from '../sync/calls.js'

/** The address of a call for one file. */
export type FileCall = (kind: 'chunks' | 'ranges' | 'patches' | 'stat') => Promise<string>

/** For a file below a folder. */
export const fileIn =
  (call: CallOfFolder, path: string): FileCall =>
  async (kind) =>
    `${(await call(kind)).replace(/\/+$/, '')}/${path.split('/').map(encodeURIComponent).join('/')}`
