export { OtlpExporter } from './exporter.js'
export { otlpSettings, signals } from './settings.js'
