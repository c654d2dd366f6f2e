// From the app's types to text in JSON and back.

import Foundation

func text(_ value: some Encodable) throws -> String {
  let encoder = JSONEncoder()
  encoder.dateEncodingStrategy = .millisecondsSince1970
  return String(decoding: try encoder.encode(value), as: UTF8.self)
}

func value<T: Decodable>(_ json: String) throws -> T {
  try decoder().decode(T.self, from: Data(json.utf8))
}

func decoder() -> JSONDecoder {
  let decoder = JSONDecoder()
  decoder.dateDecodingStrategy = .millisecondsSince1970
  return decoder
}
