package openai

import "testing"

// FuzzList: a list of models, whatever is in it, is bounded and has no negative size.
func FuzzList(f *testing.F) {
	f.Add([]byte(`{"data":[{"id":"a","context_length":1000,"top_provider":{"context_length":500,"max_completion_tokens":9}},{"id":7}]}`))
	f.Add([]byte(`[{"id":"a","context_length":"12"},{"id":"b","meta":{"n_ctx_train":4096}}]`))
	f.Add([]byte(`{"data":{"id":"a"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		models, err := decodeList("acme", body)
		if err != nil {
			return
		}
		if len(models) > maxModels {
			t.Errorf("%d models", len(models))
		}
		for _, m := range models {
			if m.Name == "" || m.Provider != "acme" || m.Window < 0 || m.MaxOutput < 0 {
				t.Errorf("%+v", m)
			}
		}
	})
}
