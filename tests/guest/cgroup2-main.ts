import { checks, openEngine } from './cgroup2-checks.ts'

// Runs in the guest: the checks that the arguments name, or all. Prints a line of JSON for each.
const wanted = process.argv.slice(2)
await openEngine()
for (const [name, check] of Object.entries(checks)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  const startedAtMs = performance.now()
  const error = await check().then(
    () => undefined,
    (thrown: unknown) => (thrown instanceof Error ? thrown.stack : String(thrown)),
  )
  console.log(JSON.stringify({ name, error, durationMs: Math.round(performance.now() - startedAtMs) }))
}
process.exit(0)
