import { Vm0Error, webStreamOf } from '@vm0/contract/client'
import type { Http, RequestBody } from '../http.js'
import { counted } from './counted.js'
import type { LocalEntry } from './local-tree.js'
import { packEntries } from './pack-entries.js'

interface PutOptions {
  /** What is packed, for messages. */
  label: string
  signal?: AbortSignal | undefined
  /** Is told when the archive begins, which it does anew after a break, and how much of it has gone. */
  onStart?: () => void
  onBytes?: (bytes: number) => void
}

/** Sends local files as one archive, which is made as it goes. */
export async function putTar(
  http: Http,
  address: string,
  entries: readonly LocalEntry[],
  { label, signal, onStart, onBytes }: PutOptions,
): Promise<void> {
  let unreadable: Error | undefined
  async function* tarOf(): AsyncGenerator<Uint8Array> {
    try {
      yield* packEntries(entries, 'FILE_INVALID')
    } catch (error) {
      unreadable = error as Error
      throw error
    }
  }
  try {
    await http.json(address, {
      method: 'PUT',
      headers: { 'content-type': 'application/x-tar' },
      body: () => {
        onStart?.()
        return webStreamOf(counted(tarOf(), (bytes) => onBytes?.(bytes))) as RequestBody
      },
      signal,
      patient: true,
    })
  } catch (thrown) {
    if (!unreadable || (thrown as Vm0Error).code !== 'SERVER_UNREACHABLE') throw thrown
    throw new Vm0Error('FILE_INVALID', `${label} could not be packed: ${unreadable.message}`, {
      cause: unreadable,
      hint: 'Something changed while it was read, or may not be read: try again.',
    })
  }
}
