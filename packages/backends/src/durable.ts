import { open } from 'node:fs/promises'

/** Makes a folder's entries durable: a rename is only on disk once its folder is. */
export async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
