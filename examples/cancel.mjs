// Stopping an agent, and going on after it. A time limit would be `signal: AbortSignal.timeout(60_000)`.
import { RunError, vm0 } from 'vm0'

const stop = new AbortController()
const run = vm0.run({ prompt: 'Count slowly to a thousand.', signal: stop.signal })
for await (const event of run) {
  if (event.type === 'tool.started') stop.abort() // it has begun to count
}
try {
  await run
} catch (error) {
  if (!(error instanceof RunError)) throw error
  console.log(`${error.outcome}: ${error.message}`)
}

// The session is still there, with what the agent had done.
const { text } = await run.session.run('How far did you get?')
console.log(text)
