import { Vm0Error, webStreamOf } from '@vm0/contract/client'
import { createTarDecoder, type TarHeader } from 'modern-tar'

/** Hands each entry of an archive to `take`, then calls `end`; what goes wrong is told of `target`, the place that is written to. */
export async function readTarEntries(
  chunks: AsyncIterable<Uint8Array>,
  target: string,
  take: (header: TarHeader, body: ReadableStream<Uint8Array>) => Promise<void>,
  end: () => Promise<void> | undefined,
): Promise<void> {
  const entries = webStreamOf(chunks)
    .pipeThrough(createTarDecoder({ strict: true }))
    .getReader()
  try {
    for (let next = await entries.read(); !next.done; next = await entries.read())
      await take(next.value.header, next.value.body)
    await end()
  } catch (thrown) {
    await entries.cancel(thrown).catch(() => undefined)
    throw asVm0Error(thrown, target)
  }
}

/** What the file system says has a system call's name; what the archive's reader says has not. */
function asVm0Error(thrown: unknown, target: string): Vm0Error {
  if (thrown instanceof Vm0Error) return thrown
  const { message, syscall } = thrown as NodeJS.ErrnoException
  return syscall
    ? new Vm0Error('FILE_INVALID', `writing into ${target} failed: ${message}`, {
        cause: thrown,
        hint: 'Check the rights and the free space of the local folder.',
      })
    : new Vm0Error('FILE_INVALID', `the archive that the server sent is broken: ${message}`, {
        cause: thrown,
        hint: 'Try again; if it stays, send the server log to the operator.',
      })
}
