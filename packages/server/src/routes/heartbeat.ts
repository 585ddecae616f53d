/**
 * Lines with an empty one at once and after each `everyMs` of silence, so that the answer's head goes out before the work
 * is done and no proxy or client takes a quiet connection for a dead one.
 */
export async function* withHeartbeat(lines: AsyncIterator<string>, everyMs: number): AsyncGenerator<string> {
  yield '\n'
  let timer: NodeJS.Timeout | undefined
  try {
    for (let next = lines.next(); ;) {
      const silence = new Promise<'silence'>((resolve) => {
        timer = setTimeout(() => resolve('silence'), everyMs)
      })
      const result = await Promise.race([next, silence])
      clearTimeout(timer)
      if (result === 'silence') yield '\n'
      else if (result.done) return
      else {
        yield result.value
        next = lines.next()
      }
    }
  } finally {
    clearTimeout(timer)
    await lines.return?.()
  }
}
