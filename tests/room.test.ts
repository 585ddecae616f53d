import { afterAll, beforeAll, expect, test } from 'vitest'
import { TestPlatform } from './support/platform.js'

const script = { name: 'room', conversations: [{ when: 'hello', steps: [{ text: 'hello back' }] }] }
const most = 2

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([script], { VM0_MAX_SANDBOXES: String(most) }, { args: ['--warm', '0'] })
})
afterAll(() => platform?.stop())

test('sessions take turns in the sandboxes that a host may have: never more at once, and nobody waits for one that is idle', async () => {
  let largest = 0
  const watched = new AbortController()
  const watching = (async () => {
    while (!watched.signal.aborted)
      largest = Math.max(largest, (await platform.client.runners.list())[0]?.sessions as number)
  })()
  const run = async (): Promise<string> => (await platform.client.run({ prompt: 'hello' })).outcome
  // All sandboxes are taken and idle, then two want the room of the same one, then one more comes.
  for (const count of [2, 2, 1, 3]) {
    const outcomes = await Promise.all(Array.from({ length: count }, run))
    expect(outcomes).toEqual(Array.from({ length: count }, () => 'succeeded'))
  }
  watched.abort()
  await watching
  expect(largest).toBe(most)
})
