import { setTimeout as wait } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { TestPlatform } from './support/platform.js'

const script = { name: 'room', conversations: [{ when: 'hello', steps: [{ text: 'hello back' }] }] }
const most = 2

let platform: TestPlatform | undefined
afterEach(() => platform?.stop())

async function start(max: number, ...args: string[]): Promise<TestPlatform> {
  platform = await TestPlatform.start([script], { VM0_MAX_SANDBOXES: String(max) }, { args })
  return platform
}

test('sessions take turns in the sandboxes that a host may have: never more at once, and nobody waits for one that is idle', async () => {
  const { client } = await start(most, '--warm', '0')
  let largest = 0
  const watched = new AbortController()
  const watching = (async () => {
    while (!watched.signal.aborted) largest = Math.max(largest, (await client.runners.list())[0]?.sessions as number)
  })()
  const run = async (): Promise<string> => (await client.run({ prompt: 'hello' })).outcome
  // All sandboxes are taken and idle, then two want the room of the same one, then one more comes.
  for (const count of [2, 2, 1, 3]) {
    const outcomes = await Promise.all(Array.from({ length: count }, run))
    expect(outcomes).toEqual(Array.from({ length: count }, () => 'succeeded'))
  }
  watched.abort()
  await watching
  expect(largest).toBe(most)
})

test('a host that is full of idle sessions makes room for warm sandboxes: whoever comes next does not wait for a start', async () => {
  const { client } = await start(3, '--warm', '1', '--freeze', '1')
  for (let runs = 0; runs < 5; runs++) {
    while ((await client.runners.list())[0]?.warm === 0) await wait(20)
    const run = client.run({ prompt: 'hello' })
    const how = []
    for await (const event of run) if (event.type === 'sandbox.ready') how.push(event.how)
    expect(how).toEqual(['warm'])
    const { sessions = 0, warm = 0 } = (await client.runners.list())[0] ?? {}
    expect(sessions + warm).toBeLessThanOrEqual(3)
  }
})
