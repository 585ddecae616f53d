import { readFileSync } from 'node:fs'
import { scriptSchema, type Script } from './script.js'

/** What the scripted model answers to the prompts of `npm run quickstart` and of the examples. */
export function quickstartScript(): Script {
  return scriptSchema.parse(JSON.parse(readFileSync(new URL('../scripts/quickstart.json', import.meta.url), 'utf8')))
}
