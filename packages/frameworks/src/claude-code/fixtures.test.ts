import { readdirSync, readFileSync } from 'node:fs'
import { eventBodySchema } from '@vm0/contract'
import { expect, test } from 'vitest'
import { describeEvents, readRecording, replay } from './fixtures/recording.js'

const fixtures = new URL('./fixtures/', import.meta.url)
const names = readdirSync(fixtures).flatMap((file) =>
  file.endsWith('.ndjson') ? [file.slice(0, -'.ndjson'.length)] : [],
)

test.each(names)('%s: the recording of a real process gives these events', async (name) => {
  const events = replay(readRecording(new URL(`${name}.ndjson`, fixtures)))
  await expect(`${describeEvents(events).join('\n')}\n`).toMatchFileSnapshot(`./fixtures/${name}.events.txt`)
  for (const event of events) expect(eventBodySchema.parse(event)).toEqual(event)
})

test('recordings hold nothing of the machine that they were made on', () => {
  for (const file of readdirSync(fixtures).filter((each) => /\.(ndjson|txt)$/.test(each))) {
    const text = readFileSync(new URL(file, fixtures), 'utf8')
    expect(text).not.toMatch(/sk-ant|the-provider-key|\/home\/|\/tmp\/vm0|\/work\//)
    for (const [, path] of text.matchAll(/"cwd":"([^"]*)"/g)) expect(path).toBe('/workspace')
  }
})
