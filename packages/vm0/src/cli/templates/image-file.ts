import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Vm0Error } from '@vm0/contract/client'
import { walkFolder, type LocalEntry } from '../../transfer/local-tree.js'
import { packEntries } from '../../transfer/pack-entries.js'

/** An OCI image layout as a tar: of a file as it is, of a folder what is in it. */
export async function openImage(given: string): Promise<AsyncIterable<Uint8Array>> {
  const path = resolve(given)
  const info = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    throw new Vm0Error('FILE_NOT_FOUND', `${path} can't be read: ${cause.message}`, {
      cause,
      hint: 'Give an OCI image: a tar, or the folder of a layout, as `skopeo copy … oci-archive:FILE` makes it.',
    })
  })
  if (!info.isDirectory()) return createReadStream(path)
  const parts = ['oci-layout', 'index.json', 'blobs']
  const entries: LocalEntry[] = []
  await walkFolder(path, { gitignore: false }, (entry) => {
    if (parts.includes(entry.name.split('/')[0] as string)) entries.push(entry)
  })
  if (!entries.some(({ name }) => name === 'oci-layout'))
    throw new Vm0Error('ARCHIVE_INVALID', `${join(path, 'oci-layout')} is missing: ${path} is no OCI image layout`)
  return packEntries(entries, 'ARCHIVE_INVALID')
}
