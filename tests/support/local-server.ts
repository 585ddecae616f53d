import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Has a server listen on a free port of the loopback. */
export async function listenLocally(server: Server): Promise<{ url: string; close(): Promise<void> }> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Who waits for something that comes from elsewhere; `look` is called when something has come. */
export class Waiting {
  private readonly looks = new Set<() => void>()

  look(): void {
    for (const look of this.looks) look()
  }

  /** Resolves with what `find` finds, as soon as it does. */
  for<T>(find: () => T | undefined): Promise<T> {
    return new Promise((resolve) => {
      const look = (): void => {
        const found = find()
        if (found === undefined) return
        this.looks.delete(look)
        resolve(found)
      }
      this.looks.add(look)
      look()
    })
  }
}
