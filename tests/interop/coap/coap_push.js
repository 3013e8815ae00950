// Push one payload with npm's coap client and print the response's code.
const coap = require('coap')

const [port, path, format, payload] = process.argv.slice(2)
const request = coap.request({ host: '127.0.0.1', port: Number(port), pathname: path, method: 'POST', confirmable: true })
if (format) request.setOption('Content-Format', format)
request.on('response', (response) => {
  console.log(response.code, response.payload.toString())
  process.exit(0)
})
request.on('error', (error) => {
  console.error(error)
  process.exit(1)
})
request.end(payload)
