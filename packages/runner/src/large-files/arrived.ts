import { createHash } from 'node:crypto'
import { posix } from 'node:path'

/** Inside the sandbox: what has arrived of files that are not whole yet. One that nobody goes on with is removed after a day. */
const arrivals = '/var/tmp/vm0-arrivals'

/** Where what has arrived of a file is kept until it is whole, so that a transfer that broke off goes on there. */
export const arrivalOf = (path: string, digest: string): string =>
  `${arrivals}/${createHash('sha256')
    .update(`${posix.normalize(path)}\0${digest}`)
    .digest('hex')
    .slice(0, 32)}`

/** Of one sandbox: who writes which arrival. The next one for the same file ends the one before, whose connection is gone. */
export class ArrivalWriters {
  private readonly writers = new Map<string, { stop: AbortController; done: Promise<unknown> }>()

  async alone<T>(arrival: string, write: (signal: AbortSignal) => Promise<T>): Promise<T> {
    for (let before = this.writers.get(arrival); before; before = this.writers.get(arrival)) {
      before.stop.abort()
      await before.done
    }
    const stop = new AbortController()
    const work = write(stop.signal)
    const done = work.then(
      () => undefined,
      () => undefined,
    )
    const writer = { stop, done }
    this.writers.set(arrival, writer)
    try {
      return await work
    } finally {
      if (this.writers.get(arrival) === writer) this.writers.delete(arrival)
    }
  }
}
