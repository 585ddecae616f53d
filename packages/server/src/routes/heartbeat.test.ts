import { expect, test } from 'vitest'
import { withHeartbeat } from './heartbeat.js'

test('an empty line comes at once and in each silence; lines come as they are and the end ends it', async () => {
  let go: () => void = () => undefined
  const gate = new Promise<void>((resolve) => (go = resolve))
  let closed = false
  async function* lines() {
    try {
      yield 'a\n'
      await gate
      yield 'b\n'
    } finally {
      closed = true
    }
  }
  const seen: string[] = []
  for await (const line of withHeartbeat(lines(), 5)) {
    seen.push(line)
    if (seen.length === 4) go()
  }
  expect(seen.slice(0, 4)).toEqual(['\n', 'a\n', '\n', '\n'])
  expect(seen.filter((line) => line !== '\n')).toEqual(['a\n', 'b\n'])
  expect(closed).toBe(true)
})

test('a reader that leaves closes what it read from', async () => {
  let closed = false
  async function* lines() {
    try {
      yield 'a\n'
      yield 'b\n'
    } finally {
      closed = true
    }
  }
  for await (const line of withHeartbeat(lines(), 1000)) if (line === 'a\n') break
  expect(closed).toBe(true)
})
